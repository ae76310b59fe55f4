#pragma once
// The structure of JPEG, PNG and BMP files, read without decoding: size, orientation, and whether the file is
// whole. The decoder fills what is missing with grey and says nothing, so this is where truncation is found.

#include <cstddef>
#include <span>
#include <string>

#include "io/image.h"

namespace espalier {

enum class Depth { kHeader, kWholeFile };

/// Reads the header (of a PNG all chunks' headers, since the orientation may stand in any) and, with
/// kWholeFile, walks to the end of the file and checks what the format lets one check (segments and end mark
/// of a JPEG, chunks and checksums of a PNG, length of a BMP). Throws Error "NAME: ...".
ImageInfo read_image_header(std::span<const std::byte> bytes, const std::string& name, Depth depth);

}  // namespace espalier
