package topics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// V is the version field of every payload. Its zero value writes 1.
type V struct{}

// MarshalJSON writes the protocol's version.
func (V) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

// UnmarshalJSON accepts any value: a reader of version 1 reads what it knows.
func (*V) UnmarshalJSON([]byte) error { return nil }

// FieldError refuses a payload and names the field that is at fault.
type FieldError struct {
	Field string // dotted path; empty when the payload as a whole is at fault
	Text  string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Text
	}
	return "field " + e.Field + ": " + e.Text
}

func missing(field string) error { return &FieldError{field, "is missing"} }

// checker is a payload that knows which of its fields cannot be missing.
type checker interface{ check() error }

// Decode reads a payload of the bus. Unknown fields are ignored; what is not
// a JSON object, is longer than MaxPayload, misses a needed field or has one
// of the wrong type is a *FieldError.
func Decode[T any](payload []byte) (T, error) {
	var v T
	if err := decodeObject(payload, MaxPayload, &v); err != nil {
		var zero T
		return zero, err
	}
	if c, ok := any(v).(checker); ok {
		if err := c.check(); err != nil {
			var zero T
			return zero, err
		}
	}
	return v, nil
}

func decodeObject(payload []byte, limit int, v any) error {
	if len(payload) > limit {
		return &FieldError{"", fmt.Sprintf("payload has %d bytes (at most %d)", len(payload), limit)}
	}
	if !utf8.Valid(payload) {
		return &FieldError{"", "payload is not UTF-8"}
	}
	trimmed := bytes.TrimSpace(payload)
	if len(trimmed) == 0 {
		return &FieldError{"", "payload is empty (a JSON object is wanted)"}
	}
	if trimmed[0] != '{' {
		return &FieldError{"", fmt.Sprintf("payload %.40q is not a JSON object", trimmed)}
	}
	err := json.Unmarshal(trimmed, v)
	var wrong *json.UnmarshalTypeError
	var field *FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &field):
		return field
	case errors.As(err, &wrong):
		return &FieldError{wrong.Field, fmt.Sprintf("is %s (want %s)", article(wrong.Value), plainType(wrong.Type))}
	default:
		return &FieldError{"", "is not JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
}

func plainType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return plainType(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}

// article puts a or an before what encoding/json calls a JSON value.
func article(value string) string {
	if strings.HasPrefix(value, "array") || strings.HasPrefix(value, "object") {
		return "an " + value
	}
	return "a " + value
}

// Encode writes a payload of the bus: compact JSON with keys in the order of
// the type, map keys sorted, so that equal values give equal bytes.
func Encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only a payload type of this package that cannot be marshalled gets here.
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
