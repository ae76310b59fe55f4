#include "support/browser.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "support/temporary_directory.h"

namespace espalier::test {

namespace fs = std::filesystem;

std::string find_chromium() {
  if (const char* named = std::getenv("ESPALIER_CHROMIUM")) return named;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    for (const char* name : {"chromium", "chromium-browser", "google-chrome"})
      if (fs::exists(fs::path(folder) / name)) return (fs::path(folder) / name).string();
  return "";
}

std::vector<std::string> page_faults(const fs::path& page) {
  const TemporaryDirectory profile;
  const std::string harness = std::string(ESPALIER_SOURCE_DIR) + "/tests/support/page_harness.html";
  const std::string command =
      "HOME='" + profile.path().string() + "' timeout 120 '" + find_chromium() +
      "' --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --allow-file-access-from-files"
      " --enable-logging=stderr --window-size=1400,1000 --virtual-time-budget=60000"
      " --user-data-dir='" +
      profile.path().string() + "/profile' --dump-dom 'file://" + harness + "?page=file://" +
      fs::absolute(page).string() + "' 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe.get())) > 0;) text.append(buffer, n);

  std::vector<std::string> faults;
  bool inside = false, done = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(":CONSOLE:") != std::string::npos) faults.push_back(line);
    const size_t open = line.find("<pre id=\"faults\">");
    if (open != std::string::npos) {
      inside = true;
      line = line.substr(open + 17);
    }
    if (!inside) continue;
    if (line == "done") done = true;
    if (done || line.find("</pre>") != std::string::npos) break;
    faults.push_back(line);
  }
  if (!done) faults.push_back("the browser did not finish: " + text.substr(0, 2000));
  return faults;
}

}  // namespace espalier::test
