#include <iostream>

#include "cli/cli.h"

int main(int argc, char** argv) {
  return espalier::run_command_line({argv + 1, argv + argc}, std::cout, std::cerr);
}
