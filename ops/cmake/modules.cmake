# One folder = one module = one target, and the link line is the layer rule: the headers of module M are
# reachable (as "M/x.h") only through build/layers/M, which is on the include path of M itself and of the
# targets that link M. Including the header of a module that is not linked does not compile.

list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
if(NOT INKLING_ENGINE_ONLY)
  find_package(PkgConfig REQUIRED)
endif()

# inkling_module(NAME SOURCES a.c ... [LINKS target ...] [PRIVATE_LINKS target ...])
#   LINKS are modules or libraries whose types appear in this module's headers; PRIVATE_LINKS are the rest.
function(inkling_module name)
  cmake_parse_arguments(M "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(${name} STATIC ${M_SOURCES})
  set(layer ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${layer})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${layer}/${name} SYMBOLIC)
  target_include_directories(${name} PUBLIC ${layer})
  target_link_libraries(${name} PUBLIC ${M_LINKS} PRIVATE ${M_PRIVATE_LINKS})
endfunction()

# inkling_program(NAME SOURCES a.c ... LINKS target ...): an executable in build/bin, installed to bin.
function(inkling_program name)
  cmake_parse_arguments(P "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${P_SOURCES})
  target_link_libraries(${name} PRIVATE ${P_LINKS})
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()

# inkling_embed(FILE NAME HEADER): FILE becomes the C string NAME[], which HEADER declares; appends the source to the
# list `embedded`.
set(INKLING_EMBED ${CMAKE_CURRENT_LIST_DIR}/embed.cmake)
function(inkling_embed file name header)
  string(MAKE_C_IDENTIFIER ${file} made)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${made}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DFILE=${CMAKE_CURRENT_SOURCE_DIR}/${file} -DOUT=${out} -DNAME=${name} -DHEADER=${header}
            -P ${INKLING_EMBED}
    DEPENDS ${file} ${INKLING_EMBED}
    VERBATIM)
  set(embedded ${embedded} ${out} PARENT_SCOPE)
endfunction()

# inkling_test(NAME SOURCES a.c ... LINKS target ... [LABEL unit] [TIMEOUT seconds]): a cmocka program run by ctest.
function(inkling_test name)
  cmake_parse_arguments(T "" "LABEL;TIMEOUT" "SOURCES;LINKS;ARGS" ${ARGN})
  if(NOT T_LABEL)
    set(T_LABEL unit)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(${name} ${T_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${T_LINKS} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${name} ${T_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS ${T_LABEL} TIMEOUT ${T_TIMEOUT}
                       ENVIRONMENT OMP_WAIT_POLICY=passive) # see nn/nn.h
endfunction()

if(INKLING_TESTS AND NOT INKLING_ENGINE_ONLY)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
elseif(INKLING_TESTS)
  # The engine alone is also tested where nobody has cmocka.
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka)
  endif()
  if(NOT CMOCKA_FOUND)
    add_library(engine_cmocka STATIC ${CMAKE_SOURCE_DIR}/tests/gpu_check/cmocka/cmocka.c)
    target_include_directories(engine_cmocka PUBLIC ${CMAKE_SOURCE_DIR}/tests/gpu_check/cmocka)
    add_library(PkgConfig::CMOCKA ALIAS engine_cmocka)
  endif()
endif()
find_package(Threads REQUIRED)
if(NOT INKLING_ENGINE_ONLY)
  pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
  pkg_check_modules(CZMQ REQUIRED IMPORTED_TARGET libczmq libzmq)
  pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)
  pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
  pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
  pkg_check_modules(VIPS REQUIRED IMPORTED_TARGET vips)
  pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
  pkg_check_modules(LAPACKE REQUIRED IMPORTED_TARGET lapacke)
  pkg_check_modules(NLOPT REQUIRED IMPORTED_TARGET nlopt)
  pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
endif()
