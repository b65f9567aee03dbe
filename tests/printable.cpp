// printable [lines] < text > printable text: how the programs of a project print text of others.

#include "printable.hpp"

#include <iostream>
#include <iterator>

int main(int count, char**) {
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    std::cout << make_printable(text, count > 1);
}
