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

find_program(ENCKE_READELF NAMES readelf)
if(ENCKE_FOLD AND CMAKE_NM AND ENCKE_READELF)
  set(_env "NM=${CMAKE_NM}" "READELF=${ENCKE_READELF}" "STRIP=${CMAKE_STRIP}" "MAP=${PROJECT_SOURCE_DIR}/cmake/encke.map"
           "SOURCE=${PROJECT_SOURCE_DIR}" "CONFIG=$<CONFIG>")
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
