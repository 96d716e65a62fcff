# link-fold.cmake makes libencke.so and libencke.a with the C tools, from one object that shows nothing but encke_*.
# Rule: no Rust symbol leaves this file. A plain Rust archive would re-export some 1,700 symbols through a host's own shared
# objects and clash with a second Rust archive in the same program.

set(_map "${PROJECT_SOURCE_DIR}/cmake/encke.map")
set(_archive "${ENCKE_CARGO_OUT}/libencke.a")
set(_object "${PROJECT_BINARY_DIR}/encke.o")

encke_cargo_command(_cargo_build staticlib)
add_custom_target(encke_cargo
  COMMAND ${_cargo_build}
  BYPRODUCTS "${_archive}"
  COMMENT "cargo: the Rust core"
  COMMAND_EXPAND_LISTS USES_TERMINAL VERBATIM)

# The symbol map is the one list of exports.
file(STRINGS "${_map}" _exports REGEX "^ +encke_[a-z0-9_]+;")
list(TRANSFORM _exports REPLACE "[ ;]+" "")
list(TRANSFORM _exports PREPEND "--undefined=" OUTPUT_VARIABLE _undefined)

# --force-group-allocation: else our private copy of a comdat group (DW.ref.rust_eh_personality) wins over another archive's.
# No --gc-sections here: together with -r it turns std's weak references into undefined ones; the final link collects.
# .llvmbc, .llvmcmd: bitcode newer than the system's LLVM plugin, which would die on it.
add_custom_command(OUTPUT "${_object}"
  DEPENDS encke_cargo "${_archive}" "${_map}"
  COMMAND "${ENCKE_LD}" -r --force-group-allocation ${_undefined} -o "${_object}.tmp" "${_archive}"
  COMMAND "${CMAKE_OBJCOPY}" --wildcard "--keep-global-symbol=encke_*" -R .llvmbc -R .llvmcmd
          "$<$<NOT:$<CONFIG:Debug,RelWithDebInfo>>:--strip-debug>" "${_object}.tmp" "${_object}"
  COMMAND "${CMAKE_COMMAND}" -E rm -f "${_object}.tmp"
  COMMENT "folding the Rust core into one object"
  COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties("${_object}" PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
add_custom_target(encke_object DEPENDS "${_object}")

add_library(encke_shared SHARED "${_object}")
add_library(encke_static STATIC "${_object}")
foreach(t encke_shared encke_static)
  add_dependencies(${t} encke_object)
  set_target_properties(${t} PROPERTIES OUTPUT_NAME encke LINKER_LANGUAGE C)
  target_include_directories(${t} INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
endforeach()

# While the version is 0.y, y is part of the soname: anything may change with it.
set(_soversion ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(_soversion 0.${PROJECT_VERSION_MINOR})
endif()
set_target_properties(encke_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${_soversion} LINK_DEPENDS "${_map}")
target_link_options(encke_shared PRIVATE
  "LINKER:--version-script=${_map}" LINKER:--gc-sections LINKER:--as-needed LINKER:-Bsymbolic-functions
  LINKER:-z,defs LINKER:-z,relro LINKER:-z,now)
target_link_libraries(encke_shared PRIVATE ${ENCKE_LINK_LIBS})
target_compile_definitions(encke_static INTERFACE ENCKE_STATIC)
target_link_libraries(encke_static INTERFACE ${ENCKE_LINK_LIBS})
