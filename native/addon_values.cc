#include "addon_values.h"

#include <cmath>
#include <cstring>

namespace nodevae {

Napi::Error to_error(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.problem);
  error.Set("code", Napi::String::New(env, failure.code));
  return error;
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
  static constexpr napi_typedarray_type kTypes[] = {napi_float32_array, napi_int32_array, napi_uint8_array};
  static constexpr const char* kTypeNames[] = {"Float32Array", "Int32Array", "Uint8Array"};
  const int index = static_cast<int>(dtype);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, &buffer, nullptr) != napi_ok ||
      type != kTypes[index])
    throw Failure{"dtype", name + " must be a " + kTypeNames[index]};
  bool detached = false;
  if (napi_is_detached_arraybuffer(value.Env(), buffer, &detached) == napi_ok && detached)
    throw Failure{"detached", "the buffer of " + name + " has been transferred away"};
  return {static_cast<const char*>(data), length};
}

Napi::Value from_bytes(Napi::Env env, DType dtype, const void* data, size_t elements) {
  const size_t bytes = elements * dtype_size(dtype);
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, bytes);
  if (bytes > 0) std::memcpy(buffer.Data(), data, bytes);
  switch (dtype) {
  case DType::int32:
    return Napi::Int32Array::New(env, elements, buffer, 0);
  case DType::uint8:
    return Napi::Uint8Array::New(env, elements, buffer, 0);
  case DType::float32:
    break;
  }
  return Napi::Float32Array::New(env, elements, buffer, 0);
}

} // namespace nodevae
