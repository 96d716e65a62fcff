# check-native-libs.cmake: is the list in native.cmake what rustc said while it built this archive?
#   cmake -DFOUND=<file written by rustc> -DLISTED=<a;b;c> -P check-native-libs.cmake

file(READ "${FOUND}" found)
string(REGEX MATCHALL "[^ \n]+" found "${found}")
list(TRANSFORM found REPLACE "^-l|\\.lib$" "")
list(REMOVE_ITEM found "c" "gcc_s" "gcc_eh" "/defaultlib:msvcrt" "System")  # the C compiler's own business
set(listed ${LISTED})
list(REMOVE_ITEM listed "System")
list(REMOVE_DUPLICATES found)
list(SORT found)
list(SORT listed)
if(NOT found STREQUAL listed)
  message(FATAL_ERROR "rustc needs: ${found}\nnative.cmake lists: ${listed}")
endif()
message(STATUS "native libraries: ${found}")
