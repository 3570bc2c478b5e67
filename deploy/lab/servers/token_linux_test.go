package servers

import "testing"

func TestToken(t *testing.T) {
	need(t, "softhsm2-util")
	p := localhost(t)
	owner := must[*Identity](t)(newPKI(t, p).G2.Officer("nguyen-van-a", "Nguyễn Văn A"))
	k := must[*Token](t)(NewToken(t.Context(), p, TokenConfig{Label: "Nguyen Van A", PIN: "123456", Owner: owner}))
	for _, away := range []bool{false, true, true, false, false} {
		if err := k.Unplug(away); err != nil {
			t.Fatal(err)
		}
		if there := must[bool](t)(k.Present(t.Context())); there == away {
			t.Errorf("unplugged %v, present %v", away, there)
		}
	}
	// The key is there: the same number is taken.
	if _, err := k.tool(t.Context(), "--import", owner.KeyFile, "--token", "Nguyen Van A", "--label", "x", "--id", "01", "--pin", "123456"); err == nil {
		t.Error("the key is not on the token")
	}
	if _, err := k.tool(t.Context(), "--import", owner.KeyFile, "--token", "Nguyen Van A", "--label", "x", "--id", "02", "--pin", "999999"); err == nil {
		t.Error("a wrong PIN was taken")
	}
}
