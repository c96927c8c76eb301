#include "addon_values.h"

#include <cmath>
#include <cstring>
#include <exception>
#include <new>

namespace nodevae {
namespace {

// By DType.
constexpr napi_typedarray_type kArrayTypes[] = {napi_float32_array, napi_int32_array, napi_uint8_array};
constexpr const char* kArrayNames[] = {"Float32Array", "Int32Array", "Uint8Array"};

// Becomes a VaeError of that code in lib/runtime/native.ts. Plain Node-API, which reports and never throws.
napi_value to_error(napi_env env, const char* code, const char* problem) noexcept {
  napi_value name = nullptr, message = nullptr, error = nullptr;
  if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_string_utf8(env, problem, NAPI_AUTO_LENGTH, &message) != napi_ok ||
      napi_create_error(env, name, message, &error) != napi_ok)
    return nullptr;
  return error;
}

} // namespace

napi_value current_error(napi_env env) noexcept {
  try {
    throw;
  } catch (const Failure& failure) {
    return to_error(env, failure.code, failure.problem.c_str());
  } catch (const PlanError& error) {
    return to_error(env, "plan", error.what());
  } catch (const OutOfMemory& error) {
    return to_error(env, "memory", error.what());
  } catch (const std::bad_alloc&) { // of operator new: lists and tables, never tensors; it does not say how much
    return to_error(env, "memory", "out of memory: the process has no more for the lists that a call keeps (some kB)");
  } catch (const Napi::Error& error) {
    try {
      return error.Value();
    } catch (...) { // the environment is ending
      return nullptr;
    }
  } catch (const std::exception& error) {
    return to_error(env, "native", error.what());
  } catch (...) {
    return to_error(env, "native", "unknown fault");
  }
}

int64_t to_integer(Napi::Value value, const char* name, int64_t minimum, int64_t maximum) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(minimum) && number <= static_cast<double>(maximum)) ||
      number != std::floor(number))
    throw Failure{"argument", std::string(name) + " must be a whole number from " + std::to_string(minimum) + " to " +
                                  std::to_string(maximum)};
  return static_cast<int64_t>(number);
}

bool to_boolean(Napi::Value value, const char* name) {
  if (!value.IsBoolean()) throw Failure{"argument", std::string(name) + " must be true or false"};
  return value.As<Napi::Boolean>().Value();
}

std::string to_string(Napi::Value value, const char* name) {
  if (!value.IsString()) throw Failure{"argument", std::string(name) + " must be a string"};
  return value.As<Napi::String>().Utf8Value();
}

const char* dtype_name(DType dtype) {
  static constexpr const char* kNames[] = {"float32", "int32", "uint8"};
  return kNames[static_cast<int>(dtype)];
}

DType to_dtype(Napi::Value value) {
  const std::string name = to_string(value, "dtype");
  for (DType dtype : {DType::float32, DType::int32, DType::uint8})
    if (name == dtype_name(dtype)) return dtype;
  throw Failure{"argument", "unknown dtype \"" + name + "\""};
}

ArrayView to_array(Napi::Value value, DType dtype, const std::string& name) {
  const int index = static_cast<int>(dtype);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, &buffer, nullptr) != napi_ok ||
      type != kArrayTypes[index])
    throw Failure{"dtype", name + " must be a " + kArrayNames[index]};
  bool detached = false;
  if (napi_is_detached_arraybuffer(value.Env(), buffer, &detached) == napi_ok && detached)
    throw Failure{"detached", "the buffer of " + name + " has been transferred away"};
  return {static_cast<const char*>(data), length};
}

namespace {

struct NewArray {
  napi_value value;
  void* data;
};

// By JavaScript's constructor, which throws where there is no memory or an array cannot be that long. The function of
// Node-API ends the process there.
NewArray new_array(napi_env env, const char* constructor_name, napi_typedarray_type type, size_t elements) {
  napi_value global = nullptr, constructor = nullptr, length = nullptr;
  NewArray array{};
  napi_typedarray_type got_type{};
  size_t got = 0;
  const auto failure = [&](const char* code, const std::string& problem) {
    return Failure{code, "no " + std::string(constructor_name) + " of " + std::to_string(elements) +
                             " elements could be made: " + problem};
  };
  if (napi_get_global(env, &global) != napi_ok ||
      napi_get_named_property(env, global, constructor_name, &constructor) != napi_ok ||
      napi_create_double(env, static_cast<double>(elements), &length) != napi_ok ||
      napi_new_instance(env, constructor, 1, &length, &array.value) != napi_ok) {
    bool thrown = false; // by the constructor; else there is none
    napi_is_exception_pending(env, &thrown);
    throw failure(thrown ? "memory" : "native",
                  Napi::Error::New(env).Message()); // which takes the exception out of the environment
  }
  if (napi_get_typedarray_info(env, array.value, &got_type, &got, &array.data, nullptr, nullptr) != napi_ok ||
      got_type != type || got != elements)
    throw failure("native", "the global constructor has been replaced");
  return array;
}

} // namespace

Napi::Value from_bytes(Napi::Env env, DType dtype, const void* data, size_t elements) {
  const int index = static_cast<int>(dtype);
  const NewArray array = new_array(env, kArrayNames[index], kArrayTypes[index], elements);
  if (elements > 0) std::memcpy(array.data, data, elements * dtype_size(dtype));
  return Napi::Value(env, array.value);
}

Napi::Value from_doubles(Napi::Env env, const std::vector<double>& numbers) {
  const NewArray array = new_array(env, "Float64Array", napi_float64_array, numbers.size());
  if (!numbers.empty()) std::memcpy(array.data, numbers.data(), numbers.size() * sizeof(double));
  return Napi::Value(env, array.value);
}

} // namespace nodevae
