// Boost's futures, for clang too.
//
// In Boost before 1.90 a function of the class run_it, which nobody calls, names the member `that`, where it
// means `that_`. clang looks into such functions since 19, and refuses the whole file. So there the class
// gets a static member of that name, by a macro of Boost's that is empty otherwise and stands in the class.
#pragma once

#include <boost/version.hpp>

#if defined __clang__ && __clang_major__ >= 19 && BOOST_VERSION < 109000 && !defined BOOST_THREAD_FUTURE_HPP

// What else uses the macro comes first.
#include <boost/thread/detail/invoker.hpp>
#include <boost/thread/detail/move.hpp>
#include <boost/thread/detail/nullary_function.hpp>

#pragma push_macro("BOOST_THREAD_COPYABLE_AND_MOVABLE")
#undef BOOST_THREAD_COPYABLE_AND_MOVABLE
#define BOOST_THREAD_COPYABLE_AND_MOVABLE(name) GUESTKIT_MEMBER_OF_##name
#define GUESTKIT_MEMBER_OF_shared_future
#define GUESTKIT_MEMBER_OF_shared_state_nullary_task
#define GUESTKIT_MEMBER_OF_run_it static ::boost::shared_ptr<FutureExecutorContinuationSharedState> that;
#include <boost/thread/future.hpp>
#undef GUESTKIT_MEMBER_OF_shared_future
#undef GUESTKIT_MEMBER_OF_shared_state_nullary_task
#undef GUESTKIT_MEMBER_OF_run_it
#pragma pop_macro("BOOST_THREAD_COPYABLE_AND_MOVABLE")

#else
#include <boost/thread/future.hpp>
#endif
