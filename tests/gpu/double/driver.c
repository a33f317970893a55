// The driver's library that the double pretends to have: it only needs to be there.
int double_driver;
