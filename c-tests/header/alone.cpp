// alone.cpp - the text of alone.c as C++.
#include "alone.c"
