#pragma once

#include <string>
#include <string_view>

namespace espalier::kernels {

/// The kernel in the __PRETTY_FUNCTION__ of a template over it: of "... [with Body =
/// espalier::kernels::Relu]" it is "Relu". The whole text where that is of another form.
std::string kernel_name(std::string_view signature);

}  // namespace espalier::kernels
