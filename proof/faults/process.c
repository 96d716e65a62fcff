/* process.c - the library is the executable segment that a function of it lies in; fds are those in /proc. */
#include "process.h"

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <stddef.h>

static int find(struct dl_phdr_info *object, size_t size, void *out) {
  uintptr_t inside = (uintptr_t)dlsym(RTLD_DEFAULT, "encke_version");
  code_range *r = out;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &object->dlpi_phdr[i];
    uintptr_t start = object->dlpi_addr + p->p_vaddr;
    if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || inside < start || inside >= start + p->p_memsz) continue;
    r->start = start, r->end = start + p->p_memsz;
    return 1;
  }
  return 0;
}

int library_code(code_range *r) {
  uintptr_t mine = (uintptr_t)&library_code;
  return dl_iterate_phdr(find, r) && (mine < r->start || mine >= r->end);
}

int count_fds(void) {
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n - 3; /* ".", ".." and its own */
}
