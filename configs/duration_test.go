package configs_test

import (
	"encoding"
	"testing"
	"time"

	"dominion/configs"
)

var (
	_ encoding.TextUnmarshaler = (*configs.Duration)(nil)
	_ encoding.TextMarshaler   = configs.Duration(0)
)

func TestDurationInsistsOnAUnit(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		err  string
	}{
		{"5s", 5 * time.Second, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"0s", 0, ""},
		{"-1.5ms", -1500 * time.Microsecond, ""},
		{"0", 0, `0 has no unit (write "0s", or another unit: ms, s, m, h)`},
		{"", 0, `wants a duration, is "" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`},
		{"5 minutes", 0, `wants a duration, is "5 minutes" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`},
		{" 5s", 0, `wants a duration, is " 5s" ("5s", without spaces?)`},
		{"1d", 0, `wants a duration, is "1d" (there is no unit for days: "24h")`},
		{"999999999h", 0, `wants a duration, is "999999999h" (a number with a unit: ms, s, m, h, as in 90s, 10m, 1h30m)`},
	}
	for _, tt := range tests {
		var got configs.Duration
		err := got.UnmarshalText([]byte(tt.text))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if got.Std() != tt.want || said != tt.err {
			t.Errorf("%q: got %v, %q\nwant %v, %q", tt.text, got, said, tt.want, tt.err)
		}
	}
}

func TestDurationWritesWhatItReads(t *testing.T) {
	for _, want := range []configs.Duration{0, 1, configs.Duration(90 * time.Minute), -configs.Duration(time.Second)} {
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got configs.Duration
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%v written as %s reads as %v, %v", want, text, got, err)
		}
	}
}
