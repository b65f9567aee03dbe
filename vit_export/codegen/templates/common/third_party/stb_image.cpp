// The one place where stb_image is compiled; what the application does not read is left out.
#define STB_IMAGE_IMPLEMENTATION
#include "stb_image.h"
