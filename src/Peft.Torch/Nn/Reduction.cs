namespace Peft.Torch;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>What becomes of the losses of single elements.</summary>
        public enum Reduction
        {
            /// <summary>They are returned as they are.</summary>
            None = 0,

            /// <summary>Their mean over the elements that count.</summary>
            Mean = 1,

            /// <summary>Their sum.</summary>
            Sum = 2,
        }
    }
}
