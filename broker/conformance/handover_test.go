package conformance_test

import (
	"fmt"
	"sync"
	"testing"
)

// A client that is lost again and again, acknowledges some of what it gets, and
// comes back to its session while others publish, misses nothing (4.4.0-1,
// 4.5.0-1), and gets what is new in order (4.6.0-6).
func TestNothingIsLostBetweenConnections(t *testing.T) {
	t.Parallel()
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprint("QoS ", qos), func(t *testing.T) { comeAndGo(t, qos) })
	}
}

func comeAndGo(t *testing.T, qos byte) {
	const publishers, many, visits = 2, 600, 25
	s := start(t, nil)
	c := join(t, s, connect{id: "visitor", resume: true})
	c.subscribe(filter{"a", qos})
	var all sync.WaitGroup
	for i := range publishers {
		p := join(t, s, connect{id: fmt.Sprint("publisher", i)})
		all.Go(func() {
			for n := range many {
				p.exchange(publish{topic: "a", payload: fmt.Sprint(i, " ", n), qos: qos})
			}
		})
	}
	var next [publishers]int
	take := func(p packet) {
		var i, n int
		if _, err := fmt.Sscan(p.payload, &i, &n); err != nil || n > next[i] {
			t.Fatalf("got %v, want number %d", p, next[i])
		}
		if n == next[i] {
			next[i]++
		} else if !p.dup {
			t.Errorf("%v came again without DUP; next is %d", p, next[i])
		}
	}
	for visit := range visits {
		for range 20 + visit {
			if next[0]+next[1] == publishers*many {
				break
			}
			p, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			switch p.kind {
			case PUBLISH:
				take(p)
				if p.id%3 > 0 { // the others when they come again
					c.send(ack(PUBACK+qos-1, p.id))
				} else if p.dup {
					c.send(ack(PUBACK+qos-1, p.id))
				}
			case PUBREL:
				c.send(ack(PUBCOMP, p.id))
			}
		}
		if visit%2 == 0 {
			c.drop()
		}
		c = join(t, s, connect{id: "visitor", resume: true})
		if !c.present {
			t.Fatal("the session is gone")
		}
	}
	for next[0]+next[1] < publishers*many {
		take(c.message())
	}
	all.Wait()
}
