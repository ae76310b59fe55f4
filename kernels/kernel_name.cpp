#include "kernels/kernel_name.h"

namespace espalier::kernels {

std::string kernel_name(std::string_view signature) {
  const size_t with = signature.find("[with ");
  const size_t equals = with == std::string_view::npos ? with : signature.find(" = ", with);
  if (equals == std::string_view::npos) return std::string(signature);
  std::string_view type = signature.substr(equals + 3);
  int depth = 0;
  size_t end = 0;
  for (; end < type.size(); ++end) {
    const char c = type[end];
    if (depth == 0 && (c == ';' || c == ',' || c == ']')) break;
    if (c == '<' || c == '(' || c == '[' || c == '{') ++depth;
    if (c == '>' || c == ')' || c == ']' || c == '}') --depth;
  }
  std::string name(type.substr(0, end));
  for (const std::string_view scope :
       {"espalier::kernels::", "{anonymous}::", "(anonymous namespace)::", "<unnamed>::"})
    for (size_t at; (at = name.find(scope)) != std::string::npos;) name.erase(at, scope.size());
  return name;
}

}  // namespace espalier::kernels
