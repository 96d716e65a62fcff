# tls.cmake owns the choice of TLS: what the options ENCKE_TLS... mean for cargo.
# Rule: a value that is not understood is an error here, and never a build that silently has something else.

foreach(option ENCKE_TLS ENCKE_TLS_POST_QUANTUM)
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
  set(ENCKE_FEATURES "tls,${ENCKE_TLS_PROVIDER}")
  if(ENCKE_TLS_POST_QUANTUM AND ENCKE_TLS_PROVIDER STREQUAL "ring")  # aws-lc has it in any case
    string(APPEND ENCKE_FEATURES ",post-quantum")
  endif()
  set(ENCKE_HAS_TLS ON)
  set(ENCKE_PC_TLS ${ENCKE_TLS_PROVIDER})
  set(_encke_tls "TLS with ${ENCKE_TLS_PROVIDER}")
else()
  if(ENCKE_TLS_POST_QUANTUM)
    message(FATAL_ERROR "encke: ENCKE_TLS_POST_QUANTUM needs ENCKE_TLS.")
  endif()
  set(ENCKE_FEATURES "")
  set(ENCKE_HAS_TLS OFF)
  set(ENCKE_PC_TLS none)
  set(_encke_tls "no TLS")
endif()
