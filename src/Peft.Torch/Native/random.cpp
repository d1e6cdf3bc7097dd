/* Generators and random numbers. */
#include "guard.h"

static at::Generator& of(pt_generator* handle) {
    if (handle == nullptr) throw std::invalid_argument("a generator is missing (null handle)");
    return handle->value;
}

using namespace peft;

extern "C" {

int32_t pt_generator_free(pt_generator* handle) {
    return guard(__func__, [&] { delete handle; });
}

int32_t pt_generator_seed(pt_generator* self, int64_t seed) {
    return guard(__func__, [&] { of(self).set_current_seed(static_cast<uint64_t>(seed)); });
}

int32_t pt_generator_state_size(pt_generator* self, int64_t* size) {
    return guard(__func__, [&] { *size = of(self).get_state().nbytes(); });
}

int32_t pt_manual_seed(int64_t seed) {
    return guard(__func__, [&] { at::manual_seed(static_cast<uint64_t>(seed)); });
}

int32_t pt_rand(const int64_t* shape, int32_t shape_count, pt_generator* random, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::rand(ints(shape, shape_count), opt(random), options(dtype, device_type, device_index)));
    });
}

int32_t pt_randn(const int64_t* shape, int32_t shape_count, pt_generator* random, int32_t dtype, int32_t device_type,
    int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::randn(ints(shape, shape_count), opt(random), options(dtype, device_type, device_index)));
    });
}

int32_t pt_randint(int64_t low, int64_t high, const int64_t* shape, int32_t shape_count, pt_generator* random,
    int32_t dtype, int32_t device_type, int32_t device_index, pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::randint(low, high, ints(shape, shape_count), opt(random), options(dtype, device_type,
            device_index)));
    });
}

int32_t pt_randperm(int64_t count, pt_generator* random, int32_t dtype, int32_t device_type, int32_t device_index,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::randperm(count, opt(random), options(dtype, device_type, device_index)));
    });
}

int32_t pt_uniform_(pt_tensor* self, double low, double high, pt_generator* random) {
    return guard(__func__, [&] { ref(self).uniform_(low, high, opt(random)); });
}

int32_t pt_normal_(pt_tensor* self, double mean, double std, pt_generator* random) {
    return guard(__func__, [&] { ref(self).normal_(mean, std, opt(random)); });
}

int32_t pt_bernoulli_(pt_tensor* self, double p, pt_generator* random) {
    return guard(__func__, [&] { ref(self).bernoulli_(p, opt(random)); });
}

int32_t pt_exponential_(pt_tensor* self, double rate, pt_generator* random) {
    return guard(__func__, [&] { ref(self).exponential_(rate, opt(random)); });
}

int32_t pt_bernoulli(pt_tensor* probabilities, pt_generator* random, pt_tensor** result) {
    return guard(__func__, [&] { *result = wrap(at::bernoulli(ref(probabilities), opt(random))); });
}

int32_t pt_multinomial(pt_tensor* weights, int64_t count, int32_t replacement, pt_generator* random,
    pt_tensor** result) {
    return guard(__func__, [&] {
        *result = wrap(at::multinomial(ref(weights), count, replacement != 0, opt(random)));
    });
}

int32_t pt_generator_new(int64_t seed, int32_t device_type, int32_t device_index, pt_generator** result) {
    return guard(__func__, [&] {
        /* A clone of the device's default generator works for every device without that device's own headers. */
        auto made = at::globalContext().defaultGenerator(device(device_type, device_index)).clone();
        made.set_current_seed(static_cast<uint64_t>(seed));
        *result = new pt_generator{made};
    });
}

int32_t pt_generator_get_state(pt_generator* self, uint8_t* state, int64_t state_count) {
    return guard(__func__, [&] {
        const auto found = of(self).get_state();
        TORCH_CHECK(state_count == static_cast<int64_t>(found.nbytes()), "room for ", state_count,
            " bytes, the state has ", found.nbytes());
        std::memcpy(state, found.data_ptr(), found.nbytes());
    });
}

int32_t pt_generator_set_state(pt_generator* self, const uint8_t* state, int64_t state_count) {
    return guard(__func__, [&] {
        auto given = at::empty({state_count}, at::TensorOptions().dtype(at::kByte));
        std::memcpy(given.data_ptr(), state, static_cast<size_t>(state_count));
        of(self).set_state(given);
    });
}

}  /* extern "C" */
