/* File mappings, shared per file while any tensor holds them. */
#include "file_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <tuple>

namespace peft {

namespace {

/* Which bytes these are: a file that was replaced or rewritten gets a mapping of its own. */
using FileKey = std::tuple<dev_t, ino_t, int64_t, int64_t, int64_t>;

std::mutex guard_of_mappings;
std::atomic<int64_t> mappings_alive{0};

std::map<FileKey, std::weak_ptr<FileMapping>>& mappings() {
    /* Never destroyed: tensors may outlive static destruction. */
    static auto* known = new std::map<FileKey, std::weak_ptr<FileMapping>>();
    return *known;
}

class Descriptor {
public:
    explicit Descriptor(const std::string& path) : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (number_ < 0) throw std::runtime_error("cannot open '" + path + "': " + std::strerror(errno));
    }
    ~Descriptor() { ::close(number_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int number() const { return number_; }

private:
    int number_;
};

}  // namespace

std::shared_ptr<FileMapping> FileMapping::open(const std::string& path) {
    const Descriptor file(path);
    struct stat about;
    if (::fstat(file.number(), &about) != 0) {
        throw std::runtime_error("cannot read the size of '" + path + "': " + std::strerror(errno));
    }
    if (!S_ISREG(about.st_mode)) throw std::runtime_error("'" + path + "' is not a file");
    const FileKey key(about.st_dev, about.st_ino, about.st_size, about.st_mtim.tv_sec, about.st_mtim.tv_nsec);

    const std::lock_guard<std::mutex> lock(guard_of_mappings);
    auto& known = mappings();
    for (auto entry = known.begin(); entry != known.end();) {
        entry = entry->second.expired() ? known.erase(entry) : std::next(entry);
    }
    if (auto found = known[key].lock()) return found;

    uint8_t* data = nullptr;
    if (about.st_size > 0) {
        /* Private and writable: a tensor may be changed in place without touching the file. */
        auto* mapped = ::mmap(nullptr, static_cast<size_t>(about.st_size), PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_NORESERVE, file.number(), 0);
        if (mapped == MAP_FAILED) throw std::runtime_error("cannot map '" + path + "': " + std::strerror(errno));
        data = static_cast<uint8_t*>(mapped);
    }
    auto made = std::make_shared<FileMapping>(data, static_cast<int64_t>(about.st_size));
    mappings_alive.fetch_add(1);
    known[key] = made;
    return made;
}

int64_t FileMapping::open_count() { return mappings_alive.load(); }

FileMapping::~FileMapping() {
    if (data_ != nullptr) ::munmap(data_, static_cast<size_t>(size_));
    mappings_alive.fetch_sub(1);
}

}  // namespace peft
