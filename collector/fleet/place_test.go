package fleet

import (
	"testing"

	"github.com/hashicorp/nomad/api"
)

// Of several allocations that are meant to run, the newest counts, in whatever order they are listed.
func TestPlaceNewest(t *testing.T) {
	old := &api.AllocationListStub{NodeID: "1", DesiredStatus: "run", ClientStatus: "failed", ClientDescription: "Failed tasks", CreateIndex: 3}
	fresh := &api.AllocationListStub{NodeID: "1", DesiredStatus: "run", ClientStatus: "running", CreateIndex: 8, JobVersion: 2}
	stopped := &api.AllocationListStub{NodeID: "1", DesiredStatus: "stop", ClientStatus: "complete", CreateIndex: 9}
	for _, list := range [][]*api.AllocationListStub{{old, fresh, stopped, nil}, {stopped, fresh, old}} {
		v := Inventory{Nodes: []Node{{ID: "1", Status: "ready"}}}
		v.place(list)
		if n := v.Nodes[0]; n.Alloc != "running" || n.JobVersion != 2 || n.Why != "" {
			t.Errorf("%+v, want the running one of version 2", n)
		}
	}
}
