/* pipeline.c - pipelining with one fd; the cases are in pipeline_cases.h. */
#include "pipeline_cases.h"

int main(void) {
  pipeline_cases(ENCKE_WATCH_ONE);
  return check_end();
}
