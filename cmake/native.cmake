# native.cmake owns the list of system libraries that a program needs beside libencke.a.
# Rule: it is what `rustc --print native-static-libs` says for this crate, without -lc and -lgcc_s: the C compiler adds those
# itself, and picks the right unwinder for an ordinary link, -static and -static-libgcc alike (a literal -lgcc_s breaks -static).
# ctest compares the list with rustc's word after every build (check-native-libs.cmake).

if(ENCKE_RUST_TARGET_USED MATCHES "-windows-")
  set(ENCKE_NATIVE_LIBS kernel32 ntdll userenv ws2_32 dbghelp bcrypt advapi32)
elseif(ENCKE_RUST_TARGET_USED MATCHES "-apple-")
  set(ENCKE_NATIVE_LIBS System m)
elseif(ENCKE_RUST_TARGET_USED MATCHES "-musl")
  set(ENCKE_NATIVE_LIBS "")
elseif(ENCKE_RUST_TARGET_USED MATCHES "-freebsd")
  set(ENCKE_NATIVE_LIBS execinfo pthread m util rt kvm memstat procstat devstat)
else()
  set(ENCKE_NATIVE_LIBS util rt pthread m dl)
endif()

# For CMake users the thread library goes by its own target.
set(ENCKE_LINK_LIBS ${ENCKE_NATIVE_LIBS})
if("pthread" IN_LIST ENCKE_LINK_LIBS)
  list(REMOVE_ITEM ENCKE_LINK_LIBS pthread)
endif()
list(APPEND ENCKE_LINK_LIBS Threads::Threads)

list(TRANSFORM ENCKE_NATIVE_LIBS PREPEND "-l" OUTPUT_VARIABLE ENCKE_PC_NATIVE_LIBS)
list(JOIN ENCKE_PC_NATIVE_LIBS " " ENCKE_PC_NATIVE_LIBS)
