# link-cargo.cmake lets cargo link both libraries: for systems without GNU ld (macOS, Windows, lld-only systems).
# Rule: the same target names, soname and file names as link-fold.cmake. What is missing here: symbol versions, the
# distribution's link flags, and private symbols in the static archive (do not link it beside a second Rust archive).

set(_soversion ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(_soversion 0.${PROJECT_VERSION_MINOR})
endif()

# _built_*: cargo's names. ENCKE_*_FILES: what is installed. _link_*: the file that a program links.
set(_here "${PROJECT_BINARY_DIR}")
set(ENCKE_RUNTIME_FILES "")
set(_links "")
if(ENCKE_RUST_TARGET_USED MATCHES "-windows-msvc")
  set(_built "encke.dll" "encke.dll.lib" "encke.lib")
  set(_named "encke.dll" "encke.lib" "encke_static.lib")
elseif(ENCKE_RUST_TARGET_USED MATCHES "-windows-")
  set(_built "encke.dll" "libencke.dll.a" "libencke.a")
  set(_named "encke.dll" "libencke.dll.a" "libencke.a")
elseif(ENCKE_RUST_TARGET_USED MATCHES "-apple-")
  set(_built "libencke.dylib" "libencke.a")
  set(_named "libencke.${PROJECT_VERSION}.dylib" "libencke.a")
  set(_links "libencke.${_soversion}.dylib" "libencke.dylib")
  set(_flags -C "link-arg=-Wl,-install_name,@rpath/libencke.${_soversion}.dylib"
             -C "link-arg=-Wl,-current_version,${PROJECT_VERSION}")
else()
  set(_built "libencke.so" "libencke.a")
  set(_named "libencke.so.${PROJECT_VERSION}" "libencke.a")
  set(_links "libencke.so.${_soversion}" "libencke.so")
  set(_flags -C "link-arg=-Wl,-soname,libencke.so.${_soversion}")
endif()

encke_cargo_command(_cargo_build "staticlib,cdylib" ${_flags})
set(_commands "")
foreach(from to IN ZIP_LISTS _built _named)
  list(APPEND _commands COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${ENCKE_CARGO_OUT}/${from}" "${_here}/${to}")
  list(APPEND _outputs "${_here}/${to}")
endforeach()
list(GET _named 0 _shared_file)
foreach(link IN LISTS _links)
  list(APPEND _commands COMMAND "${CMAKE_COMMAND}" -E create_symlink "${_shared_file}" "${_here}/${link}")
  list(APPEND _outputs "${_here}/${link}")
endforeach()
add_custom_target(encke_object ALL
  COMMAND ${_cargo_build} ${_commands}
  BYPRODUCTS ${_outputs}
  COMMENT "cargo: both libraries"
  COMMAND_EXPAND_LISTS USES_TERMINAL VERBATIM)

list(GET _named -1 _static_link)
if(WIN32)
  list(GET _named 1 _shared_link)
  set(ENCKE_RUNTIME_FILES "${_here}/encke.dll")
  set(ENCKE_SHARED_FILES "${_here}/${_shared_link}")
else()
  list(GET _links -1 _shared_link)
  set(ENCKE_SHARED_FILES "${_here}/${_shared_file}")
  foreach(link IN LISTS _links)
    list(APPEND ENCKE_SHARED_FILES "${_here}/${link}")
  endforeach()
endif()
set(ENCKE_STATIC_FILES "${_here}/${_static_link}")

foreach(kind shared static)
  add_library(encke_${kind} INTERFACE)
  add_dependencies(encke_${kind} encke_object)
  target_include_directories(encke_${kind} INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_link_libraries(encke_${kind} INTERFACE
    "$<BUILD_INTERFACE:${_here}/${_${kind}_link}>"
    "$<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/${_${kind}_link}>")
endforeach()
target_compile_definitions(encke_static INTERFACE ENCKE_STATIC)
target_link_libraries(encke_static INTERFACE ${ENCKE_LINK_LIBS})
