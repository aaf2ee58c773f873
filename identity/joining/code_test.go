package joining_test

import (
	"strings"
	"testing"

	"dominion/identity/joining"
)

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func TestCodesAreReadAsPeopleTypeThem(t *testing.T) {
	for range 200 {
		code := joining.NewCode()
		shown := code.String()
		if len(shown) != len("4F7K-9QXM-2C") || shown[4] != '-' || shown[9] != '-' {
			t.Fatalf("a code looks like %q", shown)
		}
		alike := strings.NewReplacer("0", "o", "1", "L").Replace(shown)
		for _, typed := range []string{
			shown, string(code), strings.ToLower(shown), " " + shown + "\n", strings.ReplaceAll(shown, "-", " "),
			strings.ReplaceAll(shown, "-", "–"), shown[:2] + " " + shown[2:], alike, strings.ReplaceAll(alike, "L", "i"),
		} {
			got, err := joining.ParseCode(typed)
			if err != nil || got != code {
				t.Errorf("ParseCode(%q) = %q, %v; want %q", typed, string(got), err, string(code))
			}
		}
	}
}

func TestEveryWrongCharacterAndEverySwapIsFound(t *testing.T) {
	for range 20 {
		code := string(joining.NewCode())
		for i := range code {
			for _, c := range alphabet {
				if byte(c) == code[i] {
					continue
				}
				if typed := code[:i] + string(c) + code[i+1:]; parses(typed) {
					t.Errorf("%s for %s was taken", typed, code)
				}
			}
			for j := i + 1; j < len(code); j++ {
				swapped := []byte(code)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				if code[i] != code[j] && parses(string(swapped)) {
					t.Errorf("%s for %s was taken", swapped, code)
				}
			}
		}
	}
}

func parses(s string) bool {
	_, err := joining.ParseCode(s)
	return err == nil
}

func TestErrorsOfCodesNameTheGroup(t *testing.T) {
	tests := []struct{ typed, want string }{
		{"", "has 0 of 10"},
		{"4F7K-9QXM", "has 8 of 10"},
		{"4F7K-9Qx-2C", "second group, 9QX, has 3 of 4"},
		{"4F7-9QXM-2C", "first group, 4F7, has 3 of 4"},
		{"4F7K-9QXM-2", "last group, 2, has 1 of 2"},
		{"4F7K-9UXM-2C", "'U' in the second group"},
		{"4F7K-9QXM-2C-77", "more than 10"},
		{"4F7K-9QXM-€C", "'€' in the last group"},
		{"0000-0000-01", "0000-0000-01 has a typing error"},
		{strings.Repeat("A", 1<<20), "more than 10"},
	}
	for _, tt := range tests {
		_, err := joining.ParseCode(tt.typed)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseCode(%.20q): %v; want %q", tt.typed, err, tt.want)
		}
	}
}

func TestCodesDiffer(t *testing.T) {
	seen := map[joining.Code]bool{}
	for range 1000 {
		seen[joining.NewCode()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 codes: %d different ones", len(seen))
	}
}

func FuzzParseCode(f *testing.F) {
	for _, s := range []string{"4F7K-9QXM-2C", "", "0000-0000-00", "il-oO ", "4F7K–9QXM–2C", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, err := joining.ParseCode(s)
		if err != nil {
			return
		}
		if again, err := joining.ParseCode(code.String()); err != nil || again != code {
			t.Errorf("ParseCode(%q) = %q, which is read as %q, %v", s, string(code), string(again), err)
		}
	})
}
