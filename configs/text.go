package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// environment sets every key whose variable holds something.
func (d *decoder) environment(root reflect.Value, prefix string, env map[string]string) {
	for _, s := range d.known {
		name := EnvName(prefix, s.key)
		if text := env[name]; s.leaf && text != "" {
			d.override(root, s, text, name, inEnvironment)
		}
	}
}

// flags sets the keys of the flags the user gave.
func (d *decoder) flags(root reflect.Value, flags map[string]string) {
	for _, key := range sortedKeys(flags) {
		if s, ok := d.known.leaf(key); ok {
			d.override(root, s, flags[key], FlagName(key), inFlags)
		}
	}
}

func (d *decoder) override(root reflect.Value, s setting, text, name string, from layer) {
	d.file.set[s.key] = name
	if err := setLine(leaf(root, s.index), text); err != nil {
		d.errs = append(d.errs, &Error{Where: name, Err: err, layer: from})
	}
}

// leaf returns the field that index leads to. Tables behind pointers are made anew on the way, so that the caller's stay as they are.
func leaf(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		v = v.Field(i)
		if v.Kind() == reflect.Pointer {
			fresh := reflect.New(v.Type().Elem())
			if !v.IsNil() {
				fresh.Elem().Set(v.Elem())
			}
			v.Set(fresh)
			v = fresh.Elem()
		}
	}
	return v
}

// setLine puts one line of text into a scalar or a list of scalars.
func setLine(dst reflect.Value, text string) error {
	if dst.Kind() != reflect.Slice || isScalar(dst.Type()) {
		return setWord(dst, text)
	}
	list := reflect.MakeSlice(dst.Type(), 0, 1)
	if strings.TrimSpace(text) != "" {
		for part := range strings.SplitSeq(text, ",") {
			item := reflect.New(dst.Type().Elem()).Elem()
			if err := setWord(item, strings.TrimSpace(part)); err != nil {
				return err
			}
			list = reflect.Append(list, item)
		}
	}
	dst.Set(list)
	return nil
}

// setWord puts text into a scalar.
func setWord(dst reflect.Value, text string) error {
	t := dst.Type()
	if isDuration(t) || isTextual(t) {
		return setString(dst, text)
	}
	switch {
	case t.Kind() == reflect.Bool:
		switch text {
		case "true", "false":
			dst.SetBool(text == "true")
			return nil
		}
	case dst.CanFloat():
		if f, err := strconv.ParseFloat(text, t.Bits()); err == nil {
			dst.SetFloat(f)
			return nil
		}
	default:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return setInt(dst, i)
		}
	}
	return fmt.Errorf("wants %s, is %q", article(t), text)
}
