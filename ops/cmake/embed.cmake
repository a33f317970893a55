# Writes FILE as a C string NAME[], which HEADER declares, into OUT.
file(READ ${FILE} source HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${source}")
get_filename_component(from ${FILE} NAME)
file(WRITE ${OUT} "// Made of ${from} by embed.cmake.\n#include \"${HEADER}\"\nconst char ${NAME}[] = {${bytes}0};\n")
