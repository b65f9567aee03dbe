// Text as a terminal may show it. A label, a path or a model's metadata may hold escape sequences,
// which command a terminal, and marks that turn the direction of text around.

#ifndef VIT_PRINTABLE_HPP
#define VIT_PRINTABLE_HPP

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

/// Returns the number of bytes of the UTF-8 character that `text` begins with, and the character
/// itself in `code`; 1 and the first byte if it is none.
inline std::size_t read_character(std::string_view text, std::uint32_t& code) {
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const auto byte = [text](std::size_t at) {
        return std::uint32_t{static_cast<unsigned char>(text[at])};
    };
    const std::uint32_t first = code = byte(0);
    const std::size_t size = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (size == 1 || first > 0xF4 || size > text.size()) return 1;
    std::uint32_t character = first & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if (byte(i) >> 6 != 2) return 1;
        character = character << 6 | (byte(i) & 63);
    }
    const bool surrogate = character >> 11 == 0xD800 >> 11;
    if (character < least[size] || character > 0x10FFFF || surrogate) return 1;
    code = character;
    return size;
}

inline bool commands_terminal(std::uint32_t code) {
    const auto within = [code](std::uint32_t first, std::uint32_t last) {
        return code >= first && code <= last;
    };
    const bool control = code < 0x20 || within(0x7F, 0x9F);  // C0, DEL and C1
    const bool line_end = within(0x2028, 0x2029);
    const bool direction = code == 0x061C || within(0x200E, 0x200F) || within(0x202A, 0x202E) ||
                           within(0x2066, 0x2069);
    return control || line_end || direction;
}

/// Returns the text with control characters and stray bytes as \x1b or \u202e, as vit-export prints
/// them; `lines` keeps ends of lines and tabs.
inline std::string make_printable(std::string_view text, bool lines = false) {
    std::string printable;
    while (!text.empty()) {
        std::uint32_t code = 0;
        const std::size_t size = read_character(text, code);
        const bool stray = size == 1 && code > 0x7F;
        const std::size_t short_name = std::string_view("\n\t\r").find(text[0]);
        char spelled[12];
        if (lines && short_name < 2) {
            printable += text[0];
        } else if (short_name < 3) {
            printable += std::string("\\") + "ntr"[short_name];
        } else if (stray || commands_terminal(code)) {
            const char* format = code < 0x100 ? "\\x%02x" : "\\u%04x";
            std::snprintf(spelled, sizeof spelled, format, static_cast<unsigned>(code));
            printable += spelled;
        } else {
            printable += text.substr(0, size);
        }
        text.remove_prefix(size);
    }
    return printable;
}

#endif
