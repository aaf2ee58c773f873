package client

import (
	"container/heap"
	"time"
)

// agenda is what is to be done later, by the goroutine that owns the state.
type agenda struct{ tasks tasks }

type task struct {
	at time.Time
	do func()
}

func (a *agenda) add(at time.Time, do func()) { heap.Push(&a.tasks, task{at, do}) }

// next is how long to wait for the first task; a day when there is none.
func (a *agenda) next(now time.Time) time.Duration {
	if len(a.tasks) == 0 {
		return 24 * time.Hour
	}
	return max(0, a.tasks[0].at.Sub(now))
}

// pop takes the first task that is due.
func (a *agenda) pop(now time.Time) (func(), bool) {
	if len(a.tasks) == 0 || a.tasks[0].at.After(now) {
		return nil, false
	}
	return heap.Pop(&a.tasks).(task).do, true
}

// tasks are a heap, the earliest first.
type tasks []task

func (t tasks) Len() int           { return len(t) }
func (t tasks) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t tasks) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *tasks) Push(x any)        { *t = append(*t, x.(task)) }
func (t *tasks) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = task{}
	*t = (*t)[:last]
	return x
}
