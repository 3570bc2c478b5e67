// Package town is the plan of the lab's small district: which sites there are, which links join them, which addresses
// and routes they have. It is data; what the kernel is told comes out as batches for `ip -batch`. Who runs them, and
// what stands in the sites, is for others.
//
//	         qg  national zone (three neutral targets, national portals)
//	        /  \
//	      c1 -- c2      two carriers of Internet lines
//	     / | \  / | \
//	    /  ti   ...      provincial zone (portals, names, mail, signatures)
//	hg /   |    \
//	 |     ts    g01 - x01     a commune: gateway and PC; its Internet line goes to c1 or c2,
//	 h     (to hg, ti, g01 …)  its line of the dedicated network (TSLCD) to ts
//
// Between a commune and the district the dedicated network is taken, and the Internet while that is away.
package town
