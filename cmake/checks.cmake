# checks.cmake: what ctest verifies about the libraries as built. Behaviour is tested elsewhere (cargo test, c-tests).

add_custom_target(check
  COMMAND "${CMAKE_CTEST_COMMAND}" --output-on-failure -C $<CONFIG>
  DEPENDS encke_object USES_TERMINAL VERBATIM)
foreach(kind IN LISTS ENCKE_KINDS)
  add_dependencies(check encke_${kind})
endforeach()

add_test(NAME native_libs
  COMMAND "${CMAKE_COMMAND}" "-DFOUND=${ENCKE_NATIVE_LIBS_FILE}" "-DLISTED=${ENCKE_NATIVE_LIBS}"
          -P "${PROJECT_SOURCE_DIR}/cmake/check-native-libs.cmake")

# The stripped shared library may have so many bytes; 0: no limit is set for this choice.
set(_limit 0)
if(ENCKE_FEATURES STREQUAL "tls,ring,push")
  set(_limit 2000000)
elseif(ENCKE_FEATURES STREQUAL "tls,ring,push,mounts,links")
  set(_limit 2750000)  # 376 kB of it are links, 209 of these the client's side of TLS
elseif(ENCKE_FEATURES STREQUAL "")
  set(_limit 716800)
endif()
find_program(ENCKE_READELF NAMES readelf)
if(ENCKE_FOLD AND CMAKE_NM AND ENCKE_READELF)
  set(_env "NM=${CMAKE_NM}" "READELF=${ENCKE_READELF}" "STRIP=${CMAKE_STRIP}" "MAP=${PROJECT_SOURCE_DIR}/cmake/encke.map"
           "SOURCE=${PROJECT_SOURCE_DIR}" "CONFIG=$<CONFIG>" "LIMIT=${_limit}")
  if("shared" IN_LIST ENCKE_KINDS)
    add_test(NAME shared_library COMMAND sh "${PROJECT_SOURCE_DIR}/cmake/check-library.sh" shared
      "$<TARGET_FILE:encke_shared>" "$<TARGET_SONAME_FILE_NAME:encke_shared>")
    set_tests_properties(shared_library PROPERTIES ENVIRONMENT "${_env}")
  endif()
  if("static" IN_LIST ENCKE_KINDS)
    add_test(NAME static_library COMMAND sh "${PROJECT_SOURCE_DIR}/cmake/check-library.sh" static "$<TARGET_FILE:encke_static>")
    set_tests_properties(static_library PROPERTIES ENVIRONMENT "${_env}")
  endif()
endif()

# Without TLS: every function is there all the same.
if(UNIX AND NOT ENCKE_TLS)
  foreach(kind IN LISTS ENCKE_KINDS)
    add_executable(check_no_tls_${kind} "${PROJECT_SOURCE_DIR}/cmake/check-no-tls.c")
    target_link_libraries(check_no_tls_${kind} PRIVATE encke::${kind})
    add_dependencies(check check_no_tls_${kind})
    add_test(NAME no_tls_${kind} COMMAND check_no_tls_${kind})
    set_tests_properties(no_tls_${kind} PROPERTIES TIMEOUT 60)
  endforeach()
endif()

# The HTTPS examples, where the tools for it are there.
find_program(ENCKE_OPENSSL NAMES openssl)
find_program(ENCKE_CURL NAMES curl)
if(TARGET hello_tls AND ENCKE_TLS AND ENCKE_OPENSSL AND ENCKE_CURL)
  add_dependencies(check hello_tls select_loop)
  add_test(NAME https_examples COMMAND sh "${PROJECT_SOURCE_DIR}/c-examples/check.sh" "$<TARGET_FILE_DIR:hello_tls>")
  set_tests_properties(https_examples PROPERTIES TIMEOUT 120)
endif()
