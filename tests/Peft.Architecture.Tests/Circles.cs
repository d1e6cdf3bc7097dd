#pragma warning disable SA1402, SA1403 // two namespaces on purpose: the test of circles must find this one
namespace Peft.Architecture.Tests.CircleA
{
    internal static class First
    {
        public static int Call(int value) => value == 0 ? 0 : CircleB.Second.Call(value - 1);
    }
}

namespace Peft.Architecture.Tests.CircleB
{
    internal static class Second
    {
        public static int Call(int value) => value == 0 ? 0 : CircleA.First.Call(value - 1);
    }
}
