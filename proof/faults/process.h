/* process.h - what is to be known of this process: where the code of the library lies in it, and how many fds it has. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdint.h>

typedef struct { uintptr_t start, end; } code_range;

int library_code(code_range *); /* 0: it was not found, or it is part of the program */
int count_fds(void);

#endif
