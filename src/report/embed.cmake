# cmake -DFOLDER=... -DOUT=... -P embed.cmake: every file of FOLDER becomes a row of kPageFiles in the C++ file OUT.
file(GLOB files ${FOLDER}/*)
set(arrays "")
set(rows "")
set(number 0)
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "const unsigned char file${number}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", reinterpret_cast<const char*>(file${number})},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUT}.new "#include \"report/page.h\"\n\nnamespace espalier {\n\nnamespace {\n${arrays}}  // namespace\n
const std::map<std::string, std::string>& page_files() {\n  static const std::map<std::string, std::string> files = {\n${rows}  };
  return files;\n}\n\n}  // namespace espalier\n")
file(RENAME ${OUT}.new ${OUT})
