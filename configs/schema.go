package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// schema is every key that a Config struct knows.
type schema []setting

type setting struct {
	key   string // "services.NAME.priority"
	index []int  // the fields that lead to it from the root, for a leaf
	leaf  bool   // one line of text can set it
}

// field is a key of one struct.
type field struct {
	key   string
	index []int // more than one through embedded structs
	field reflect.StructField
}

// schemaOf returns the struct that v points to with the keys it knows. Its errors are the programmer's.
func schemaOf(v any) (reflect.Value, schema, error) {
	pointer := reflect.ValueOf(v)
	if pointer.Kind() != reflect.Pointer || pointer.IsNil() || pointer.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, nil, fmt.Errorf("configs: want a pointer to a struct, got %T", v)
	}
	b := schemaBuilder{}
	if err := b.table(pointer.Elem().Type(), "", nil, true); err != nil {
		return reflect.Value{}, nil, err
	}
	names := map[string]string{}
	for _, s := range b.settings {
		name := EnvName("", s.key)
		if other, ok := names[name]; ok && s.leaf {
			return reflect.Value{}, nil, fmt.Errorf("configs: %T: keys %s and %s would be set by one variable", v, other, s.key)
		}
		if s.leaf {
			names[name] = s.key
		}
	}
	return pointer.Elem(), b.settings, nil
}

func (s schema) leaf(key string) (setting, bool) {
	i := slices.IndexFunc(s, func(x setting) bool { return x.leaf && x.key == key })
	if i < 0 {
		return setting{}, false
	}
	return s[i], true
}

type schemaBuilder struct {
	settings schema
	inside   []reflect.Type // the structs being walked, so that one that contains itself ends
}

func (b *schemaBuilder) table(t reflect.Type, prefix string, index []int, leaves bool) error {
	if slices.Contains(b.inside, t) {
		return nil
	}
	b.inside = append(b.inside, t)
	defer func() { b.inside = b.inside[:len(b.inside)-1] }()
	seen := map[string]bool{}
	for _, f := range fieldsOf(t) {
		switch {
		case !f.field.IsExported() || !isBare(f.key):
			return fmt.Errorf("configs: %s.%s: tag %q needs an exported field and a bare key", t, f.field.Name, f.key)
		case seen[f.key]:
			return fmt.Errorf("configs: %s: two fields have the key %q", t, f.key)
		}
		seen[f.key] = true
		if err := b.value(f.field.Type, prefix+f.key, slices.Concat(index, f.index), leaves); err != nil {
			return err
		}
	}
	return nil
}

func (b *schemaBuilder) value(t reflect.Type, key string, index []int, leaves bool) error {
	if t.Kind() == reflect.Pointer {
		return b.value(t.Elem(), key, index, leaves)
	}
	if isScalar(t) {
		b.settings = append(b.settings, setting{key: key, index: index, leaf: leaves})
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		b.settings = append(b.settings, setting{key: key})
		return b.table(t, key+".", index, leaves)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return fmt.Errorf("configs: key %s: a map's keys must be strings, not %s", key, t.Key())
		}
		b.settings = append(b.settings, setting{key: key})
		return b.value(t.Elem(), key+".NAME", nil, false)
	case reflect.Slice:
		if isScalar(t.Elem()) {
			b.settings = append(b.settings, setting{key: key, index: index, leaf: leaves})
			return nil
		}
		b.settings = append(b.settings, setting{key: key})
		return b.value(t.Elem(), key+"[]", nil, false)
	case reflect.Interface:
		if t.NumMethod() == 0 {
			b.settings = append(b.settings, setting{key: key})
			return nil
		}
	}
	return fmt.Errorf("configs: key %s: no setting can be a %s", key, t)
}

// fieldsOf lists the keys of a struct type in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case key == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case key != "" && key != "-":
			fields = append(fields, field{key: key, index: []int{i}, field: f})
		}
	}
	return fields
}

// isScalar tells whether a value of type t is written as one TOML scalar.
func isScalar(t reflect.Type) bool {
	if isText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isDuration(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Duration]() || t == reflect.TypeFor[Duration]()
}

// isBare tells whether TOML writes a key without quotes.
func isBare(key string) bool {
	return key != "" && strings.IndexFunc(key, func(r rune) bool { return r > 127 || !isBareByte(byte(r)) }) < 0
}

func isBareByte(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
