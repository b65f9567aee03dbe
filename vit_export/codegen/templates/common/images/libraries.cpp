// PNG and JPEG by libpng and libjpeg-turbo, which decode JPEG as Pillow's does.

#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include "decoders.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {

std::string decoder_names() { return "libpng and libjpeg"; }

namespace detail {
namespace {

struct JpegErrors {
    jpeg_error_mgr manager;
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void jump_out(j_common_ptr info) {
    auto* errors = reinterpret_cast<JpegErrors*>(info->err);
    info->err->format_message(info, errors->message);
    std::longjmp(errors->jump, 1);
}

/// Ends the decoding where the file ends; libjpeg itself would go on with grey.
boolean end_of_file(j_decompress_ptr info) {
    auto* errors = reinterpret_cast<JpegErrors*>(info->err);
    std::snprintf(errors->message, sizeof errors->message, "%s", "it is truncated");
    std::longjmp(errors->jump, 1);
}

/// Fills `rows`; false: `errors` has the reason. No object lives here whose destructor a jump skips.
bool decode_rows(const std::string& file, J_COLOR_SPACE space, std::uint8_t* rows,
                 std::size_t size, JpegErrors& errors) {
    jpeg_decompress_struct info{};
    info.err = jpeg_std_error(&errors.manager);
    errors.manager.error_exit = jump_out;
    errors.manager.output_message = [](j_common_ptr) {};  // warnings: Pillow ignores them too
    if (setjmp(errors.jump)) {
        jpeg_destroy_decompress(&info);
        return false;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()),
                 static_cast<unsigned long>(file.size()));
    info.src->fill_input_buffer = end_of_file;
    jpeg_read_header(&info, TRUE);
    info.out_color_space = space;
    jpeg_start_decompress(&info);
    const std::size_t stride =
        std::size_t{info.output_width} * static_cast<std::size_t>(info.output_components);
    if (stride * info.output_height == size)
        while (info.output_scanline < info.output_height) {
            JSAMPROW row = rows + info.output_scanline * stride;
            jpeg_read_scanlines(&info, &row, 1);
        }
    else
        std::snprintf(errors.message, sizeof errors.message, "%s", "its size is contradictory");
    const bool complete = stride * info.output_height == size && jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return complete;
}

}  // namespace

Samples decode_png(const std::string& png, std::int64_t height, std::int64_t width, int channels) {
    const png_uint_32 formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    Samples samples(static_cast<std::size_t>(height * width * channels));
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    bool decoded = png_image_begin_read_from_memory(&image, png.data(), png.size());
    if (decoded) {
        image.format = formats[channels - 1];
        decoded = PNG_IMAGE_SIZE(image) == samples.size() &&
                  png_image_finish_read(&image, nullptr, samples.data(), 0, nullptr);
    }
    const std::string reason = image.message;
    png_image_free(&image);
    if (!decoded) throw Error("can't be decoded: " + reason);
    return samples;
}

Samples decode_jpeg(const std::string& file, const JpegHeader& header) {
    const std::size_t channels = header.components.size();
    const auto space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    Samples samples(static_cast<std::size_t>(header.height * header.width) * channels);
    JpegErrors errors{};
    if (!decode_rows(file, space, samples.data(), samples.size(), errors))
        throw Error(std::string("can't be decoded: ") + errors.message);
    return samples;
}

std::string inflate(std::string_view compressed, std::size_t most) {
    std::string data(most, '\0');
    uLongf size = static_cast<uLongf>(most);
    const auto* bytes = reinterpret_cast<const Bytef*>(compressed.data());
    if (uncompress(reinterpret_cast<Bytef*>(data.data()), &size, bytes,
                   static_cast<uLong>(compressed.size())) != Z_OK)
        throw Error(kBadZlib);
    data.resize(size);
    return data;
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit
