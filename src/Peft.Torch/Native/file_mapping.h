/* A file mapped whole, copy-on-write, shared by all tensors that were made from it. */
#ifndef PEFT_TORCH_FILE_MAPPING_H
#define PEFT_TORCH_FILE_MAPPING_H

#include <cstdint>
#include <memory>
#include <string>

namespace peft {

class FileMapping {
public:
    /* The mapping of the file that is at path now; the same one while any tensor holds it. */
    static std::shared_ptr<FileMapping> open(const std::string& path);

    /* Mappings alive. */
    static int64_t open_count();

    FileMapping(uint8_t* data, int64_t size) : data_(data), size_(size) {}
    ~FileMapping();
    FileMapping(const FileMapping&) = delete;
    FileMapping& operator=(const FileMapping&) = delete;

    uint8_t* data() const { return data_; }
    int64_t size() const { return size_; }

private:
    uint8_t* data_;
    int64_t size_;
};

}  // namespace peft

#endif
