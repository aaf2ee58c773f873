package joining_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"dominion/identity/joining"
)

// The vectors of draft-irtf-cfrg-cpace-21, appendix B.3 and A.1.
const (
	vectorCI        = "0b415f696e69746961746f720b425f726573706f6e646572"
	vectorSid       = "7e4b4791d6a8ef019b936c79fb7f2c57"
	vectorString    = "11435061636552697374726574746f3235350850617373776f726464" + zeros100 + "180b415f696e69746961746f720b425f726573706f6e646572107e4b4791d6a8ef019b936c79fb7f2c57"
	vectorGenerator = "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56"
	vectorScalarA   = "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"
	vectorShareA    = "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157"
	vectorScalarB   = "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"
	vectorShareB    = "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258"
	vectorSecret    = "80b69a8a76457ab6a4d7f887a4bf6b55a2f80ac19c333f917a05fc9887c8b40f"
	vectorKey       = "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447"

	vectorScalar  = "7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05"
	vectorPoint   = "2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"
	vectorProduct = "7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e"
	vectorInvalid = "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"
	vectorNeutral = "0000000000000000000000000000000000000000000000000000000000000000"

	zeros100 = zeros25 + zeros25 + zeros25 + zeros25
	zeros25  = "00000000000000000000000000000000000000000000000000"
)

func TestCPaceIsTheDrafts(t *testing.T) {
	ci, sid := unhex(t, vectorCI), unhex(t, vectorSid)
	same(t, "generator_string", joining.CPaceGeneratorString("Password", ci, sid), vectorString)
	same(t, "generator", joining.CPaceGenerator("Password", ci, sid), vectorGenerator)

	shareA, keyA, err := joining.CPaceRun(unhex(t, vectorScalarA), "Password", ci, sid)
	if err != nil {
		t.Fatal(err)
	}
	shareB, keyB, err := joining.CPaceRun(unhex(t, vectorScalarB), "Password", ci, sid)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Ya", shareA, vectorShareA)
	same(t, "Yb", shareB, vectorShareB)
	for _, side := range []struct{ scalar, share string }{{vectorScalarA, vectorShareB}, {vectorScalarB, vectorShareA}} {
		secret, err := joining.ScalarMultVerify(unhex(t, side.scalar), unhex(t, side.share))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "K", secret, vectorSecret)
	}

	messageA, messageB := joining.LVCat(shareA, []byte("ADa")), joining.LVCat(shareB, []byte("ADb"))
	a, err := keyA(shareB, messageA, messageB)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "A's ISK", a, vectorKey)
	b, err := keyB(shareA, messageA, messageB)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "B's ISK", b, vectorKey)
}

func TestCPaceRefusesWeakShares(t *testing.T) {
	product, err := joining.ScalarMultVerify(unhex(t, vectorScalar), unhex(t, vectorPoint))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "scalar_mult_vfy", product, vectorProduct)
	for _, share := range []string{vectorInvalid, vectorNeutral, "", "00", strings.Repeat("ff", 32), vectorPoint + "00"} {
		if product, err := joining.ScalarMultVerify(unhex(t, vectorScalar), unhex(t, share)); err == nil {
			t.Errorf("%s was taken, and gave %x", share, product)
		}
	}
}

func TestLengthsArePutBefore(t *testing.T) {
	same(t, "lv_cat", joining.LVCat([]byte("1234"), []byte("5"), nil, []byte("678")), "043132333401350003363738")
	long := joining.LVCat(bytes.Repeat([]byte{7}, 128))
	same(t, "the length of 128", long[:3], "800107")
}

func same(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if hex.EncodeToString(got) != want {
		t.Errorf("%s = %x, want %s", what, got, want)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
