# features.cmake owns the choice of what is built in: what the options ENCKE_TLS..., ENCKE_PUSH, ENCKE_MOUNTS and
# ENCKE_LINKS mean for cargo.
# Rule: a value that is not understood is an error here, and never a build that silently has something else.

foreach(option ENCKE_TLS ENCKE_TLS_POST_QUANTUM ENCKE_PUSH ENCKE_MOUNTS ENCKE_LINKS)
  string(TOUPPER "${${option}}" _value)
  if(NOT _value MATCHES "^(ON|OFF|TRUE|FALSE|YES|NO|Y|N|1|0)$")
    message(FATAL_ERROR "encke: ${option} is ON or OFF, not \"${${option}}\". (The cryptography is chosen by ENCKE_TLS_PROVIDER.)")
  endif()
endforeach()

set(ENCKE_TLS_PROVIDERS ring aws-lc)
set_property(CACHE ENCKE_TLS_PROVIDER PROPERTY STRINGS ${ENCKE_TLS_PROVIDERS})
if(NOT ENCKE_TLS_PROVIDER IN_LIST ENCKE_TLS_PROVIDERS)
  message(FATAL_ERROR "encke: ENCKE_TLS_PROVIDER is ring or aws-lc, not \"${ENCKE_TLS_PROVIDER}\". (For a build without TLS: -DENCKE_TLS=OFF.)")
endif()

# ENCKE_FEATURES: for cargo. ENCKE_HAS_TLS, ENCKE_PC_TLS: for those who find the installed library.
if(ENCKE_TLS)
  set(ENCKE_FEATURES tls ${ENCKE_TLS_PROVIDER})
  if(ENCKE_TLS_POST_QUANTUM AND ENCKE_TLS_PROVIDER STREQUAL "ring")  # aws-lc has it in any case
    list(APPEND ENCKE_FEATURES post-quantum)
  endif()
  set(ENCKE_HAS_TLS ON)
  set(ENCKE_PC_TLS ${ENCKE_TLS_PROVIDER})
  set(_encke_choice "TLS with ${ENCKE_TLS_PROVIDER}")
else()
  if(ENCKE_TLS_POST_QUANTUM)
    message(FATAL_ERROR "encke: ENCKE_TLS_POST_QUANTUM needs ENCKE_TLS.")
  endif()
  set(ENCKE_FEATURES "")
  set(ENCKE_HAS_TLS OFF)
  set(ENCKE_PC_TLS none)
  set(_encke_choice "no TLS")
endif()

# ENCKE_HAS_PUSH, ENCKE_HAS_MOUNTS, ENCKE_HAS_LINKS: for those who find the installed library.
foreach(room push mounts links)
  string(TOUPPER ${room} _room)
  if(ENCKE_${_room})
    if(NOT ENCKE_PUSH)
      message(FATAL_ERROR "encke: ENCKE_${_room} needs ENCKE_PUSH.")
    endif()
    list(APPEND ENCKE_FEATURES ${room})
    set(ENCKE_HAS_${_room} ON)
  else()
    set(ENCKE_HAS_${_room} OFF)
    string(APPEND _encke_choice ", no ${room}")
  endif()
endforeach()
list(JOIN ENCKE_FEATURES "," ENCKE_FEATURES)
