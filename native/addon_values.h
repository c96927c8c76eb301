// JavaScript values in and out: errors with a code, checked numbers and typed arrays, and opaque handles.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include <napi.h>

#include "plan.h"

namespace nodevae {

// Becomes a JavaScript Error with a `code`; lib/runtime/native.ts turns it into a VaeError of that code.
struct Failure {
  const char* code;
  std::string problem;
};

Napi::Error to_error(Napi::Env env, const Failure& failure);

// Every exported function runs inside this: no C++ exception reaches Node.
template <class Body> Napi::Value guarded(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (const Failure& failure) {
    throw to_error(env, failure);
  } catch (const PlanError& error) {
    throw to_error(env, {"plan", error.what()});
  } catch (const std::bad_alloc&) {
    throw to_error(env, {"native", "out of memory"});
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw to_error(env, {"native", error.what()});
  }
}

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;
int64_t to_integer(Napi::Value value, const char* name, int64_t minimum, int64_t maximum);
bool to_boolean(Napi::Value value, const char* name);
std::string to_string(Napi::Value value, const char* name);
DType to_dtype(Napi::Value value);
const char* dtype_name(DType dtype);

// The elements of a typed array, checked: its type and that its buffer has not been transferred away. Valid only
// until JavaScript runs again.
struct ArrayView {
  const char* data;
  size_t elements;
};
ArrayView to_array(Napi::Value value, DType dtype, const std::string& name);
// A new typed array in V8's own memory.
Napi::Value from_bytes(Napi::Env env, DType dtype, const void* data, size_t elements);

// An opaque handle: a tagged JavaScript object that shares ownership of a T. A value that is not such an object is
// refused, so a mixed-up argument cannot be taken for memory.
template <class T> Napi::Object to_handle(Napi::Env env, std::shared_ptr<T> value) {
  Napi::Object object = Napi::Object::New(env);
  auto* owned = new std::shared_ptr<T>(std::move(value));
  const napi_status status = napi_wrap(
      env, object, owned, [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<T>*>(data); }, nullptr,
      nullptr);
  if (status != napi_ok) {
    delete owned;
    throw Failure{"native", "a handle could not be made"};
  }
  if (napi_type_tag_object(env, object, &T::kTag) != napi_ok) throw Failure{"native", "a handle could not be tagged"};
  return object;
}

template <class T> std::shared_ptr<T> from_handle(Napi::Value value) {
  bool tagged = false;
  void* data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(value.Env(), value, &T::kTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(value.Env(), value, &data) != napi_ok)
    throw Failure{"argument", std::string("expected a ") + T::kName};
  return *static_cast<std::shared_ptr<T>*>(data);
}

} // namespace nodevae
