#include <espalier/predictor.h>

#include <iostream>

int main(int, char** arguments) try {
  espalier::Predictor model(arguments[1], {.device = "auto"});
  const espalier::Prediction seen = model.predict_file(arguments[2]);  // or predict({width, height, rgb})
  for (const espalier::ClassScore& best : seen.classes)
    std::cout << model.labels().at(best.label) << " " << best.score << "\n";
  for (const espalier::ObjectBox& box : seen.boxes)
    std::cout << model.labels().at(box.label) << " " << box.score << " at " << box.x0 << ", " << box.y0
              << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 2;
}
