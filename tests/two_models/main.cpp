// main FIRST SECOND IMAGE LABELS: two models whose headers are in other sources.

void answer_of_first(const char* file, const char* image, const char* labels);
void answer_of_second(const char* file, const char* image, const char* labels);

int main(int, char** words) {
    answer_of_first(words[1], words[3], words[4]);
    answer_of_second(words[2], words[3], words[4]);
}
