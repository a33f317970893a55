// The page of `study report`, of the files in report/. page.html has places {{title}}, {{style}},
// {{study}} and {{script}}; the scripts are one, in this order, and read the study, which is JSON,
// from the page.
#ifndef INKLING_CLI_REPORT_IMPL_H
#define INKLING_CLI_REPORT_IMPL_H

extern const char report_page[], report_style[];
extern const char report_base[], report_plot[], report_params[], report_whole[];

#endif
