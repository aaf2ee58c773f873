package configs

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder puts values into a struct and collects what is wrong with them.
type decoder struct {
	file  *File
	known schema
	errs  []error
}

// place is where a value stands in the file.
type place struct {
	key  string // the whole key, as TOML writes it
	name string // its last part; empty for an element of a list
	node *node
	line int
}

// child is the place of a key in a table.
func (p place) child(name string) place {
	shown := name
	if !isBare(name) {
		shown = strconv.Quote(name)
	}
	return p.inside(strings.TrimPrefix(p.key+"."+shown, "."), shown, p.node.key(name))
}

// item is the place of an element in a list.
func (p place) item(i int) place {
	return p.inside(fmt.Sprintf("%s[%d]", p.key, i), "", p.node.item(i))
}

func (p place) inside(key, name string, n *node) place {
	if n == nil {
		return place{key: key, name: name, line: p.line}
	}
	return place{key: key, name: name, node: n, line: n.line}
}

// refuse notes an error at a place in the file.
func (d *decoder) refuse(p place, err error) {
	if p.key != "" {
		err = fmt.Errorf("%s: %w", p.key, err)
	}
	d.errs = append(d.errs, &Error{Where: d.file.path, Line: p.line, Err: err})
}

// table puts a TOML table into a struct.
func (d *decoder) table(table map[string]any, dst reflect.Value, p place) {
	fields := fieldsOf(dst.Type())
	for _, name := range sortedKeys(table) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == name })
		if i < 0 {
			d.refuse(place{key: p.key, line: p.child(name).line}, d.unknown(name, fields, p))
			continue
		}
		d.value(table[name], dst.FieldByIndex(fields[i].index), p.child(name))
	}
}

// names puts a TOML table into a map, name by name.
func (d *decoder) names(table map[string]any, dst reflect.Value, p place) {
	filled := reflect.MakeMap(dst.Type())
	for name, v := range dst.Seq2() {
		filled.SetMapIndex(name, v)
	}
	for _, name := range sortedKeys(table) {
		key := reflect.New(dst.Type().Key()).Elem()
		if err := setString(key, name); err != nil {
			d.refuse(p.child(name), err)
			continue
		}
		v := reflect.New(dst.Type().Elem()).Elem()
		if old := filled.MapIndex(key); old.IsValid() {
			v.Set(old)
		}
		d.value(table[name], v, p.child(name))
		filled.SetMapIndex(key, v)
	}
	dst.Set(filled)
}

// list puts a TOML array into a slice.
func (d *decoder) list(array reflect.Value, dst reflect.Value, p place) {
	filled := reflect.MakeSlice(dst.Type(), array.Len(), array.Len())
	for i := range array.Len() {
		d.value(array.Index(i).Interface(), filled.Index(i), p.item(i))
	}
	dst.Set(filled)
}

// value puts any TOML value into a field, an element or a map's value.
func (d *decoder) value(data any, dst reflect.Value, p place) {
	t := dst.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		fresh := reflect.New(t.Elem())
		if !dst.IsNil() {
			fresh.Elem().Set(dst.Elem())
		}
		d.value(data, fresh.Elem(), p)
		dst.Set(fresh)
		return
	case t.Kind() == reflect.Interface:
		dst.Set(reflect.ValueOf(data))
		return
	case isScalar(t):
		if err := setScalar(dst, data); err != nil {
			d.refuse(p, withExample(err, p.name))
		}
		return
	}
	table, isTable := data.(map[string]any)
	array := reflect.ValueOf(data)
	switch {
	case t.Kind() == reflect.Struct && isTable:
		d.table(table, dst, p)
	case t.Kind() == reflect.Map && isTable:
		d.names(table, dst, p)
	case t.Kind() == reflect.Slice && array.Kind() == reflect.Slice:
		d.list(array, dst, p)
	default:
		d.refuse(p, withRemedy(withExample(mismatch(t, data), p.name), header(t, p.key)))
	}
}

// header is the remedy for a value that stands where a table should: the table's own line.
func header(t reflect.Type, key string) string {
	switch {
	case strings.HasSuffix(key, "]"):
		return ""
	case t.Kind() == reflect.Struct:
		return "write [" + key + "] and its keys below"
	case t.Kind() == reflect.Map:
		return "write [" + key + "] and the names below"
	case !isScalar(t.Elem()):
		return "write [[" + key + "]] for each, and its keys below"
	}
	return ""
}

// setScalar puts one TOML value into a scalar.
func setScalar(dst reflect.Value, data any) error {
	t := dst.Type()
	if s, ok := data.(string); ok && (isText(t) || isDuration(t) || t.Kind() == reflect.String) {
		return setString(dst, s)
	}
	switch v := data.(type) {
	case int64:
		switch {
		case isDuration(t):
			return noUnit(strconv.FormatInt(v, 10))
		case isText(t):
		case dst.CanInt() || dst.CanUint():
			return setInt(dst, v)
		case dst.CanFloat():
			dst.SetFloat(float64(v))
			return nil
		}
	case float64:
		switch {
		case isDuration(t):
			return noUnit(strconv.FormatFloat(v, 'f', -1, 64))
		case isText(t):
		case dst.CanFloat() && !dst.OverflowFloat(v):
			dst.SetFloat(v)
			return nil
		}
	case bool:
		if t.Kind() == reflect.Bool && !isText(t) {
			dst.SetBool(v)
			return nil
		}
	}
	return mismatch(t, data)
}

// setString puts text into whatever is written as a TOML string.
func setString(dst reflect.Value, s string) error {
	if isDuration(dst.Type()) {
		d, err := parseDuration(s)
		if err == nil {
			dst.SetInt(int64(d))
		}
		return err
	}
	if u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	dst.SetString(s)
	return nil
}

func setInt(dst reflect.Value, v int64) error {
	if dst.CanInt() && !dst.OverflowInt(v) {
		dst.SetInt(v)
		return nil
	}
	if dst.CanUint() && v >= 0 && !dst.OverflowUint(uint64(v)) {
		dst.SetUint(uint64(v))
		return nil
	}
	bits := dst.Type().Bits()
	if dst.CanUint() {
		return fmt.Errorf("wants a whole number from 0 to %d, is %d", ^uint64(0)>>(64-bits), v)
	}
	return fmt.Errorf("wants a whole number from %d to %d, is %d", int64(-1)<<(bits-1), ^uint64(0)>>(65-bits), v)
}

// mismatchError says that a value has the wrong type, with the value as it should be written, if that can be told.
type mismatchError struct {
	text    string
	correct string
}

func (e *mismatchError) Error() string { return e.text }

// withExample adds to a mismatch the line as it should be: name = value, or, in a list, the value.
func withExample(err error, name string) error {
	var m *mismatchError
	if !errors.As(err, &m) || m.correct == "" {
		return err
	}
	if name != "" {
		return withRemedy(err, name+" = "+m.correct)
	}
	return withRemedy(err, m.correct)
}

func mismatch(want reflect.Type, data any) error {
	e := &mismatchError{text: fmt.Sprintf("wants %s, is %s", article(want), describe(data))}
	switch v := data.(type) {
	case string:
		if parsed, err := parse("v = " + v); err == nil && len(parsed) == 1 && fits(want, parsed["v"]) {
			e.correct = v
		}
		if want.Kind() == reflect.Slice && isTextual(want.Elem()) {
			e.correct = "[" + strconv.Quote(v) + "]"
		}
	case int64, float64, bool:
		if isTextual(want) {
			e.correct = fmt.Sprintf("%q", fmt.Sprint(v))
		}
		if want.Kind() == reflect.Slice && fits(want.Elem(), v) {
			e.correct = fmt.Sprintf("[%v]", v)
		}
	}
	return e
}

// fits tells whether a scalar would be taken by a field of type t.
func fits(t reflect.Type, data any) bool {
	return isScalar(t) && !isTextual(t) && setScalar(reflect.New(t).Elem(), data) == nil
}

func isTextual(t reflect.Type) bool {
	return isText(t) || t.Kind() == reflect.String
}

// article names what a type wants to be given.
func article(t reflect.Type) string {
	switch {
	case isDuration(t):
		return "a duration"
	case isTextual(t):
		return "a string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Pointer:
		return article(t.Elem())
	}
	return "a whole number"
}

// describe names what was given, without telling strings: they may be secrets.
func describe(data any) string {
	switch v := data.(type) {
	case string:
		return "a string"
	case int64, float64, bool:
		return fmt.Sprint(v)
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date"
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
