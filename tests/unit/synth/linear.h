// Logistic regression with L2, as an opponent: what can be told from pixels without looking at how
// they lie together?
#ifndef INKLING_TESTS_SYNTH_LINEAR_H
#define INKLING_TESTS_SYNTH_LINEAR_H

// rows: count × width values, standardised in here by the first train rows; labels 0 or 1. The rows
// after the first train ones are for the test. Trained to convergence for a range of L2 strengths;
// the best accuracy on the test rows over all of these is returned, which flatters the opponent.
double linear_best_accuracy(float *rows, const int *labels, int count, int width, int train);

#endif
