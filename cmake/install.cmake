# install.cmake owns the installed tree: libraries, header, CMake package, pkg-config files, licences and documents.
# Rule: every file works from wherever the tree is put (DESTDIR, a moved prefix); nothing holds a path of this build.

set(_cmakedir "${CMAKE_INSTALL_LIBDIR}/cmake/encke")
foreach(kind IN LISTS ENCKE_KINDS)
  install(TARGETS encke_${kind} EXPORT encke-${kind}-targets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime NAMELINK_COMPONENT development
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
    RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
  install(EXPORT encke-${kind}-targets NAMESPACE encke:: DESTINATION "${_cmakedir}" COMPONENT development)
endforeach()
if(NOT ENCKE_FOLD)  # cargo's files are no CMake targets
  foreach(kind IN LISTS ENCKE_KINDS)
    string(TOUPPER ${kind} _kind)
    install(FILES ${ENCKE_${_kind}_FILES} DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development)
  endforeach()
  if("shared" IN_LIST ENCKE_KINDS AND ENCKE_RUNTIME_FILES)
    install(FILES ${ENCKE_RUNTIME_FILES} DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT runtime)
  endif()
endif()
install(FILES "${PROJECT_SOURCE_DIR}/include/encke.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)

# find_package(encke [0.1] [COMPONENTS shared static tls])
include(CMakePackageConfigHelpers)
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/encke-config.cmake.in" encke-config.cmake
  INSTALL_DESTINATION "${_cmakedir}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(_compatibility SameMinorVersion)
else()
  set(_compatibility SameMajorVersion)
endif()
write_basic_package_version_file(encke-config-version.cmake COMPATIBILITY ${_compatibility})
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/encke-config.cmake" "${CMAKE_CURRENT_BINARY_DIR}/encke-config-version.cmake"
  DESTINATION "${_cmakedir}" COMPONENT development)

# pkg-config: encke (whichever is there, shared first) and encke-static (the archive by name). The prefix is computed from the
# place of the .pc file; only an absolute CMAKE_INSTALL_LIBDIR or _INCLUDEDIR outside the prefix has to be written as it is.
set(_pcdir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(ENCKE_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH _up "/prefix/${_pcdir}" "/prefix")
  string(REGEX REPLACE "/$" "" _up "${_up}")
  set(ENCKE_PC_PREFIX "\${pcfiledir}/${_up}")
endif()
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(ENCKE_PC_${dir} "${CMAKE_INSTALL_${dir}}")
  else()
    set(ENCKE_PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
set(ENCKE_PC_ARCHIVE "libencke.a")
if(MSVC AND "shared" IN_LIST ENCKE_KINDS)
  set(ENCKE_PC_ARCHIVE "encke_static.lib")
endif()
# Where only the archive is installed, encke.pc means the archive, and its needs are everybody's.
if("shared" IN_LIST ENCKE_KINDS)
  set(_pcs encke)
  if("static" IN_LIST ENCKE_KINDS)
    list(APPEND _pcs encke-static)
  endif()
  set(ENCKE_PC_NAME encke-static)
  configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/encke.pc.in" encke.pc @ONLY)
  configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/encke-static.pc.in" encke-static.pc @ONLY)
else()
  set(_pcs encke encke-static)
  set(ENCKE_PC_NAME encke)
  configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/encke-static.pc.in" encke.pc @ONLY)
  set(ENCKE_PC_NAME encke-static)
  configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/encke-static.pc.in" encke-static.pc @ONLY)
endif()
foreach(pc IN LISTS _pcs)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${pc}.pc" DESTINATION "${_pcdir}" COMPONENT development)
endforeach()

install(FILES README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT documentation)
install(DIRECTORY docs/ DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT documentation FILES_MATCHING PATTERN "*.md")
install(DIRECTORY c-examples/ DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" COMPONENT documentation
  FILES_MATCHING PATTERN "*.c" PATTERN "*.h" PATTERN "README.md" PATTERN "CMakeLists.txt")
