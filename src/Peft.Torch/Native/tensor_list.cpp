/* Lists of tensors. */
#include "guard.h"

using namespace peft;

extern "C" {

int32_t pt_list_new(pt_list** result) {
    return guard(__func__, [&] { *result = new pt_list(); });
}

int32_t pt_list_free(pt_list* handle) {
    return guard(__func__, [&] { delete handle; });
}

int32_t pt_list_add(pt_list* self, pt_tensor* item) {
    return guard(__func__, [&] { ref(self).push_back(ref(item)); });
}

int32_t pt_list_count(pt_list* self, int64_t* count) {
    return guard(__func__, [&] { *count = static_cast<int64_t>(ref(self).size()); });
}

int32_t pt_list_get(pt_list* self, int64_t index, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(ref(self).at(static_cast<size_t>(index))); });
}

}  /* extern "C" */
