package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// depositOnce deposits a text under a key.
func depositOnce(t *testing.T, a *Archive, agent, key, content string) (entry int64, before bool, err error) {
	t.Helper()
	o, err := a.Once(agent, "", key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.End()
	if o.Before() {
		sum := sha256.Sum256([]byte(content))
		o.Add(sum[:])
		return o.Done()
	}
	d, err := a.Deposit(o.Context(context.Background()), agent, Deposit{Units: []NewUnit{{Parent: -1, Title: "T", Channel: Digital, Content: text("a.txt", content)}}})
	if err != nil {
		return 0, false, err
	}
	return d.Receipt.Index, false, nil
}

func TestOnceRemembers(t *testing.T) {
	a := newArchive(t, nil)
	first, before, err := depositOnce(t, a, "gru", "k1", "one")
	if err != nil || before {
		t.Fatal(before, err)
	}
	if again, before, err := depositOnce(t, a, "gru", "k1", "one"); again != first || !before || err != nil {
		t.Errorf("a retry gives entry %d, before %v, %v; want %d", again, before, err, first)
	}
	if _, _, err := depositOnce(t, a, "gru", "k1", "two"); !errors.Is(err, ErrOtherRequest) {
		t.Errorf("another content under the key: %v", err)
	}
	if other, before, err := depositOnce(t, a, "ged", "k1", "one"); other == first || before || err != nil {
		t.Errorf("another's key is the same: %d %v %v", other, before, err)
	}
}

func TestOnceFailedIsNotRemembered(t *testing.T) {
	a := newArchive(t, nil)
	o, err := a.Once("gru", "", "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Once("gru", "", "k"); !errors.Is(err, ErrUnderWay) {
		t.Errorf("a second at once: %v", err)
	}
	if _, err := a.Deposit(o.Context(context.Background()), "gru", Deposit{}); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	o.End()
	if _, before, err := depositOnce(t, a, "gru", "k", "x"); before || err != nil {
		t.Errorf("a refused request is remembered: %v %v", before, err)
	}
}

// TestOnceIsOneTransaction: when a commit fails, neither the deposit nor its key is there.
func TestOnceIsOneTransaction(t *testing.T) {
	for _, step := range []string{"commit", "committed"} {
		dir := createEdited(t, nil)
		a, err := Open(dir, Options{CatalogueFault: func(s string) error {
			if s == step {
				return errors.New("injected")
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := depositOnce(t, a, "gru", "k", "x"); err == nil {
			t.Fatal("the fault is not told")
		}
		a.Close()
		if a, err = Open(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		units := func() int {
			page, err := a.List(Filter{})
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Units)
		}
		there := units() == 1
		o, err := a.Once("gru", "", "k")
		if err != nil {
			t.Fatal(err)
		}
		if o.Before() != there {
			t.Errorf("%s: the deposit is there: %v, its key: %v", step, there, o.Before())
		}
		o.End()
		if _, _, err := depositOnce(t, a, "gru", "k", "x"); err != nil || units() != 1 {
			t.Errorf("%s: after a retry there are %d units, %v", step, units(), err)
		}
		a.Close()
	}
}

func TestForgetOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := Open(createEdited(t, nil), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		depositOnce(t, a, "gru", "old", "x")
		time.Sleep(KeepOnce - time.Hour)
		depositOnce(t, a, "gru", "new", "x")
		if n, err := a.ForgetOnce(context.Background()); n != 0 || err != nil {
			t.Errorf("too early: %d, %v", n, err)
		}
		time.Sleep(2 * time.Hour)
		if n, err := a.ForgetOnce(context.Background()); n != 1 || err != nil {
			t.Errorf("%d forgotten, %v", n, err)
		}
		if _, before, _ := depositOnce(t, a, "gru", "new", "x"); !before {
			t.Error("the newer one is forgotten, too")
		}
	})
}
